//! apsaramq-status
