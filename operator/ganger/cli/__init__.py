"""The `ganger` command, also `kubectl ganger`."""
