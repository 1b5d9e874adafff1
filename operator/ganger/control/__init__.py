"""The operator's end of the control channel: who reports, what was said, and what is asked in return (ADR 7)."""
