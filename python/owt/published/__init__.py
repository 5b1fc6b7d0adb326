"""What locations publish: functions of files that the configuration names, and pages that tell of them."""
