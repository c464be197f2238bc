"""The push server: ASGI consumers, the stores behind them, and their routing."""
