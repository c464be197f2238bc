"""The push server: ASGI consumers, message stores and routing."""
