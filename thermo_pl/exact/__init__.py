"""Systems solved in closed form, in float64: references that the rest is measured against."""
