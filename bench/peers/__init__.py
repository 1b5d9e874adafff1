"""What Ganger is measured against: other controllers as published, built from source, beside the same API server."""
