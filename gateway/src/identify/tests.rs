//! Claims about identification.
