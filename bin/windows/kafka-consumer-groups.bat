@echo off
rem Lists and describes consumer groups, and removes old ones.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.admin.ConsumerGroupCommand %*
