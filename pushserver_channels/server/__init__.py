"""The server that ``manage.py runpushserver`` runs, based on Daphne."""
