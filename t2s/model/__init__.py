"""The network: Pattention, the bank of token groups, language-guided scaling, encoders, policy, heads."""
