"""Runs side by side: finding them, grouping them by settings, tables, figures and a paired test over seeds."""
