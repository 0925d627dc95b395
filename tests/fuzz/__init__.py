"""What comes from outside, mutated at random: ``make fuzz``, and a fixed part of it in the tests.

A case is made from three things: the seed of the run, the name of its target, its number. So one
printed number repeats a whole run, and a case does not depend on those before it. A target gives
back the class of the outcome; whatever else it raises is a finding, which is shrunk and saved.

Hypothesis, which the other tests use, makes a fifth as many cases a second and would have to be
taught the same mutations; fuzzers that are guided by coverage need a compiler.
"""
