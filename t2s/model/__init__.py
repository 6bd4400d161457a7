"""The policy network: Pattention, the token bank, language-guided scaling, scenes, encoders and action heads."""
