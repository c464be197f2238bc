"""What ``manage.py runpushserver`` runs: its Daphne, and the applications around."""
