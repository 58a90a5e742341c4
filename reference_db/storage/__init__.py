"""What a node keeps: an ordered map with atomic batches and explicit syncs, and what is laid out in it."""
