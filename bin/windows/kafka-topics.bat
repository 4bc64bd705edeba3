@echo off
rem Creates, lists, describes, alters and deletes topics.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.admin.TopicCommand %*
