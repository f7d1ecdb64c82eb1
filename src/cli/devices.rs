//! `mist devices`: lists the devices of this machine.

use clap::Args;
use mist::system::cores;
use mist::system::environment::MIST_CPU;
use mist::system::quote::counted;
use mist::terminal::Printer;
use mist::{cpu, placement};
use serde_json::json;

use super::exit::Status;

/// List the devices of this machine, and the kernels of the CPU.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  mist devices --json")]
pub struct DevicesArgs {
    /// Print one JSON object.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs `mist devices`.
pub fn run(args: &DevicesArgs, printer: &Printer) -> anyhow::Result<Status> {
    let level = cpu::level();
    let threads = cores::threads();
    let memory = placement::host_memory();
    let accelerators = placement::accelerators();
    if args.json {
        let mut devices = vec![json!({
            "device": "cpu",
            "threads": threads,
            "kernels": level.name(),
            "memory_bytes": memory,
        })];
        devices.extend(accelerators.iter().map(|name| json!({"device": name.to_string()})));
        printer.data(&format!("{}\n", json!({"devices": devices})))?;
        return Ok(Status::Success);
    }
    let memory =
        memory.map_or(String::new(), |bytes| format!(", {} of memory", indicatif::HumanBytes(bytes)));
    printer.data(&format!("cpu  {}{memory}, {} kernels\n", counted(threads, "thread"), level.name()))?;
    for name in accelerators {
        printer.data(&format!("{name}\n"))?;
    }
    printer.detail(&format!("{MIST_CPU} forces a set of kernels"));
    Ok(Status::Success)
}
