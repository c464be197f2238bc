"""What the dashboard asks the processes of the push server and their stores.

A process does nothing for it until somebody looks: no timer runs, and no message is
counted for it.
"""
