"""What ``make matrix`` and ``make release-check`` run, for maintainers."""
