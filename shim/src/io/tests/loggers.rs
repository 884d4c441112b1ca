//! Programs that take output.

use super::*;

const LOGGER: &str = "#!/bin/sh
echo \"$CONTAINER_ID $CONTAINER_NAMESPACE $*\" > \"$2/said\"
exec 5>&-
cat <&3 > \"$2/out\"
cat <&4 > \"$2/err\"
echo done > \"$2/done\"
";

fn uri(place: &Place, program: &str) -> String {
    format!("binary://{program}?into={}&flag", place.0.path().display())
}

#[test]
fn a_logger_reads_the_pipes_itself() {
    let place = Place::new();
    let program = place.program("logger", LOGGER);
    on_one_thread(async {
        let (mut io, ends) = open(&outputs(&uri(&place, &program), "")).await;
        let mut child = execute("echo out; echo err >&2", ends);
        io.start().unwrap();
        assert!(ended(&mut child).await.success());
        io.drained().await;
    });
    let said = fs::read_to_string(place.path("said")).unwrap();
    assert_eq!(said, format!("web tests into {} flag \n", place.0.path().display()));
    assert_eq!(fs::read_to_string(place.path("out")).unwrap(), "out\n");
    assert_eq!(fs::read_to_string(place.path("err")).unwrap(), "err\n");
    assert!(place.path("done").exists(), "drained before the logger's end");
}

#[test]
fn the_death_of_a_logger_does_not_hurt_the_container() {
    let place = Place::new();
    let program = place.program("logger", "#!/bin/sh\nexec 5>&-\nread line <&3\n");
    on_one_thread(async {
        let (mut io, ends) = open(&outputs(&uri(&place, &program), "")).await;
        let script = "echo one; head -c 3000000 /dev/zero && echo more >&2 && exit 7";
        let mut child = execute(script, ends);
        io.start().unwrap();
        assert_eq!(ended(&mut child).await.code(), Some(7));
        io.drained().await;
    });
}

#[test]
fn a_logger_that_does_not_get_ready_is_refused_and_ended() {
    let place = Place::new();
    let pid = place.path("pid");
    let text = format!("#!/bin/sh\necho $$ > {}\nexec sleep 1000\n", pid.display());
    let program = place.program("logger", &text);
    on_one_thread(async {
        let streams = outputs(&uri(&place, &program), "");
        let limit = Duration::from_millis(200);
        let refused = Io::open_within(&streams, Owner::default(), &context(), limit).await;
        let Err(error) = refused else { panic!("it is opened") };
        assert_eq!(error.to_string(), format!("the logger {program} was not ready after 0.2 s"));
        if let Ok(pid) = fs::read_to_string(&pid)
            && pid.ends_with('\n')
        {
            let process = PathBuf::from(format!("/proc/{}", pid.trim()));
            until("the logger's end", || !process.exists()).await;
        }
    });
}

#[test]
fn a_logger_of_the_second_version_has_to_say_that_it_is_ready() {
    let place = Place::new();
    let program = place.program("logger", "#!/bin/sh\nexit 3\n");
    let ready = place.program("ready", "#!/bin/sh\nprintf x >&5\nexec 5>&-\ncat <&3 >&2\n");
    on_one_thread(async {
        let name = uri(&place, &program).replace("binary:", "binary-v2:");
        assert_eq!(
            refusal(&outputs(&name, "")).await,
            format!("the logger {program} ended without saying that it is ready")
        );
        let (mut io, ends) = open(&outputs(&uri(&place, &ready), "")).await;
        io.start().unwrap();
        drop(ends);
        io.drained().await;
    });
}

#[test]
fn a_missing_logger_is_named() {
    on_one_thread(async {
        assert_eq!(
            refusal(&outputs("binary:///no/such/logger", "")).await,
            "execute the logger /no/such/logger: no such file or directory"
        );
    });
}

#[test]
fn a_logger_that_stays_is_told_to_go() {
    let place = Place::new();
    let text = format!(
        "#!/bin/sh\ntrap 'echo term > {}; exit 0' TERM\nexec 5>&-\nwhile :; do sleep 0.05; done\n",
        place.path("said").display()
    );
    let program = place.program("logger", &text);
    on_one_thread(async {
        let (mut io, ends) = open(&outputs(&uri(&place, &program), "")).await;
        io.start().unwrap();
        drop(ends);
        io.drained().await;
        drop(io);
        until("SIGTERM", || place.path("said").exists()).await;
    });
}
