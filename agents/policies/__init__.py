"""Policies: behaviour cloning, scripted experts, soft actor-critic, and adapters to Stable-Baselines3."""
