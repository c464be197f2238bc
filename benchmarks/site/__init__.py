"""The Django site whose push server is measured."""
