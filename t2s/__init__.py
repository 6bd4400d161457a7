"""Lifelong imitation learning with tokenised skill scaling, from demonstrations to figures."""
