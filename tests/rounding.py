"""How far two computations of the same number in single precision may be apart.

Bits are the same only where one graph runs twice on one machine. Other graphs, batches, kernels
and CPUs add the same products in another order: a sum of n of them is off by some sqrt(n) roundings
of 6e-8 of their size. With sums of up to 1,000 and the ten layers of the small networks here, each
of which passes on what the one before was off by, sqrt(10 * 1000) * 6e-8 is 6e-6.
"""

# Of outputs of size one, such as probabilities and pixels from -1 to 1. What is computed wrongly
# (with another epsilon, mean, filter or term) is further off than ten times this.
ROUNDING = 1e-5
