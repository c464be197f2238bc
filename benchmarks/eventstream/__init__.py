"""A site with django-eventstream, set up as its documentation says."""
