fn main() -> std::process::ExitCode {
    boot::run("image-controller", image_controller::run)
}
