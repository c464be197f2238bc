"""A dashboard for the staff of a site: what the push server holds, keeps and sends."""
