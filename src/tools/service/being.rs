//! The service's own process: tells Windows how it is, and runs the server until Windows asks for the end.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::log::{error, info};
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::{define_windows_service, service_dispatcher};

use super::plan::Plan;
use super::{Error, Result};
use crate::tools;
use crate::tools::signals::{self, Ending};

/// How long Windows shall wait for an orderly end before it takes the service for hung.
const END: Duration = Duration::from_secs(60);

/// Windows calls a plain function, which finds here what it is about.
static WHAT: OnceLock<Plan> = OnceLock::new();
/// Through which Windows is told.
static HANDLE: OnceLock<ServiceStatusHandle> = OnceLock::new();

/// Windows has asked for the end.
static ASKED: AtomicBool = AtomicBool::new(false);

define_windows_service!(entry, serve);

/// Becomes the service; returns after its end.
pub(super) fn run(plan: Plan, directory: Option<&Path>) -> Result<String> {
    if let Some(directory) = directory {
        std::env::set_current_dir(directory)
            .map_err(|e| Error::Other(format!("{}: {e}", directory.display())))?;
    }
    let name = plan.name.clone();
    WHAT.set(plan).expect("a process is one service");
    service_dispatcher::start(&name, entry).map_err(|_| {
        let text = "this is what Windows itself calls; type `kafka service start` instead";
        Error::Other(text.to_owned())
    })?;
    Ok(format!("{name} has ended"))
}

fn serve(_: Vec<OsString>) {
    let plan = WHAT.get().expect("set before Windows was told of this function");
    // A panic's text would go to a console that is not there.
    std::panic::set_hook(Box::new(|panic| error!("{panic}")));
    match service_control_handler::register(&plan.name, control) {
        Ok(handle) => HANDLE.set(handle).expect("a process is one service"),
        Err(e) => return error!("cannot listen to the service manager: {e}"),
    }
    tell(ServiceState::Running, ServiceExitCode::NO_ERROR);
    info!("the service {} runs {}", plan.name, plan.config.display());
    let code = serve_until_the_end(plan);
    let exit = if ASKED.load(Ordering::Relaxed) || code == ExitCode::SUCCESS {
        ServiceExitCode::NO_ERROR
    } else {
        // Windows starts it again.
        ServiceExitCode::ServiceSpecific(1)
    };
    tell(ServiceState::Stopped, exit);
}

fn serve_until_the_end(plan: &Plan) -> ExitCode {
    // Said where it is read: the server itself would tell its console.
    if let Err(e) = plan.check() {
        error!("{e}");
        return ExitCode::FAILURE;
    }
    let tool = tools::find(plan.class()).expect("a plan's class is in the table");
    (tool.run)(&[plan.config.display().to_string()])
}

fn control(control: ServiceControl) -> ServiceControlHandlerResult {
    match control {
        ServiceControl::Stop | ServiceControl::Preshutdown => {
            ASKED.store(true, Ordering::Relaxed);
            tell(ServiceState::StopPending, ServiceExitCode::NO_ERROR);
            signals::ask(Ending::Terminated);
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    }
}

/// Tells Windows how the service is. If Windows does not listen, nobody does.
fn tell(state: ServiceState, exit_code: ServiceExitCode) {
    let (accepts, wait) = match state {
        ServiceState::Running => (
            ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN,
            Duration::ZERO,
        ),
        ServiceState::StopPending => (ServiceControlAccept::empty(), END),
        _ => (ServiceControlAccept::empty(), Duration::ZERO),
    };
    let Some(handle) = HANDLE.get() else { return };
    let told = handle.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepts,
        exit_code,
        checkpoint: 0,
        wait_hint: wait,
        process_id: None,
    });
    if let Err(e) = told {
        error!("cannot tell the service manager: {e}");
    }
}
