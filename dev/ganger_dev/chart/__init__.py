"""`make chart`: the Helm chart under lint, its schema, real API servers and a whole life of a release."""
