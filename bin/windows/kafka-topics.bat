@echo off
rem Creates, lists, describes, alters and deletes topics.
"%~dp0kafka-run-class.bat" kafka.admin.TopicCommand %*
