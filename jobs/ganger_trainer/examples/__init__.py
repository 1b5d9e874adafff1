"""Tasks to start from. Each is one file that a newcomer can read; manifests are in jobs/examples."""
