"""What a stranger costs the server: ``python -m benchmarks.attacks``.

Each attack runs against a server with its limits off, and then with the defaults.
Meanwhile one subscriber listens to a stream, on which a message is published twenty
times a second; its delays say how much the others notice.
"""
