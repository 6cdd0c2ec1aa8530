"""Before the first step: what the data decide, and the initial weights."""
