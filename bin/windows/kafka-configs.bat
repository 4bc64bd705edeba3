@echo off
rem Describes and changes the settings of topics and clients.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka.admin.ConfigCommand %*
