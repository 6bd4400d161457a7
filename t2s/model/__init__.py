"""The policy network: Pattention, the token bank, language-guided scaling, encoders and action heads."""
