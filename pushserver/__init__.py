"""Push updates from Django to web pages over plain HTTP."""

__version__ = "1.0.0"
