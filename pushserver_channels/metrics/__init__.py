"""The metrics of the processes of the push server."""
