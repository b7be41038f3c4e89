//! Merged graphs and the alert rules that watch them.
