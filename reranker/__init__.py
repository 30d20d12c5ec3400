"""Everything learned: second-stage scores and the decision."""
