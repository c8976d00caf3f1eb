"""Where services live: one `Target` per place, all level-triggered (`apply` compares, then changes)."""
