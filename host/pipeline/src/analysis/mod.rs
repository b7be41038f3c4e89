//! The analysis stage: validated and errors -> derived, graphs and alerts.
