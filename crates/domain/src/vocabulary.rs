//! How a vocabulary of "no" is written down: one table, from which the type, its words and the manual follow.

/// Makes the type of a table whose rows are: name, stable code, [`Kind`](crate::Kind), sentence, hint.
macro_rules! vocabulary {
    ($(#[$about:meta])* $vocabulary:ident;
     $($name:ident, $code:literal, $kind:ident, $sentence:literal, $hint:literal;)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $vocabulary {
            $(#[doc = $sentence] $name,)*
        }

        impl $vocabulary {
            /// Every one there is, in the order of the manual.
            pub const ALL: &'static [$vocabulary] = &[$($vocabulary::$name,)*];

            /// The stable word for it, in journals, metrics and answers to operators.
            pub fn code(self) -> &'static str {
                match self { $($vocabulary::$name => $code,)* }
            }

            /// What sort of no it is.
            pub fn kind(self) -> $crate::Kind {
                match self { $($vocabulary::$name => $crate::Kind::$kind,)* }
            }

            /// What happened, for the operator.
            pub fn sentence(self) -> &'static str {
                match self { $($vocabulary::$name => $sentence,)* }
            }

            /// What to try, for the operator.
            pub fn hint(self) -> &'static str {
                match self { $($vocabulary::$name => $hint,)* }
            }
        }
    };
}
