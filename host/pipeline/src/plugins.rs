//! The loaded plugins of a stage.
