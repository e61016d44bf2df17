"""From a checkpoint to synthetic patches."""
