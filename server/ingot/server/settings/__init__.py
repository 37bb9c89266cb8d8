"""Settings: what there is (`fields`), where values come from (`loading`), what they must be (`checks`)."""
