"""The neighbour, django-eventstream, as its own documentation sets it up."""
