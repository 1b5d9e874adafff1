"""The way to the API server, opened from a kubeconfig. The only module here that loads the client library."""
