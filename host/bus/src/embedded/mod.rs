//! The embedded bus: one commit log in a folder.
