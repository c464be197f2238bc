"""A site that is typed strictly, and uses all public calls of the package."""
