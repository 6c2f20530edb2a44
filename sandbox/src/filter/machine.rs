//! A processor for filter programs, as the kernel's: for tests.
//!
//! For: the tests of the filter. In: a program and a call. Out: the verdict, and how many instructions it took. Never: an
//! instruction that seccomp does not take.

use libc::sock_filter;

/// What the kernel shows a filter of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub number: u32,
    pub architecture: u32,
    pub arguments: [u64; 6],
}

impl Asked {
    fn word(&self, offset: u32) -> u32 {
        let arguments = self.arguments.iter().flat_map(|argument| argument.to_le_bytes());
        let head = [self.number.to_le_bytes(), self.architecture.to_le_bytes(), [0; 4], [0; 4]];
        let bytes: Vec<u8> = head.into_iter().flatten().chain(arguments).collect();
        let at = usize::try_from(offset).unwrap();
        assert!(offset.is_multiple_of(4), "the kernel takes whole words only");
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }
}

/// Runs it to its verdict. Panics where the kernel would not have taken it.
pub(crate) fn run(program: &[sock_filter], asked: &Asked) -> (u32, usize) {
    let (mut loaded, mut at, mut steps) = (0, 0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        steps += 1;
        at += 1;
        let over = |holds: bool| usize::from(if holds { jt } else { jf });
        match u32::from(code) {
            c if c == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => loaded = asked.word(k),
            c if c == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => loaded &= k,
            c if c == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => at += over(loaded == k),
            c if c == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => at += over(loaded >= k),
            c if c == libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K => at += over(loaded & k != 0),
            c if c == libc::BPF_JMP | libc::BPF_JA => at += usize::try_from(k).unwrap(),
            c if c == libc::BPF_RET | libc::BPF_K => return (k, steps),
            other => panic!("instruction {at}: {other:#x}"),
        }
    }
}
