"""Methods of the recovery experiment, one file for each idea; `register_recovery_method` adds one."""
